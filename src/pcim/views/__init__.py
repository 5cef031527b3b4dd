"""Which parts of a field are explained, their pixels and their regions."""
