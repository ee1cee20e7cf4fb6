"""What is deployed beside the program: not part of the installed package."""
