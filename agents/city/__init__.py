"""The city: what its street lights, stations, parking places, manholes and cameras measure."""
