"""Reference pages of the documents, written from the code that they describe."""
