"""A worker: a process that trains segments and keeps what it has loaded."""
