"""A simulated city: stations, street lights, parking places, manholes and cameras that send over every protocol of the gateway."""
