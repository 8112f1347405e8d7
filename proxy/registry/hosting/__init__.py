"""What is published here and what is said of it afterwards."""
