"""What a worker process is to its machine: connections and descriptors."""
