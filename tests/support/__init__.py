"""What the tests share: small models, files, servers, searches and how a program is run."""
