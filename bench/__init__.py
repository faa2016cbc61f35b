"""The peers and the load: what the factory line does a second, against stock Faust and Quix Streams, and how long an alert takes."""
