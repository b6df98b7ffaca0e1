"""HTTP requests and answers as plain data, and the code that sends them."""
