"""Where it runs: transport, wiring and the modules that `faust -A` names."""
