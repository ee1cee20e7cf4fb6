"""How far each node's commit log has been applied, and who may say so; never commits by itself."""
