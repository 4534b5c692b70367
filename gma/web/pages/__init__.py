"""What people see: each page a value, and one layout that turns it into HTML."""
