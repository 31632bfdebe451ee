"""REST, JSON and a web page in front of a gRPC server, in a process of their own."""
