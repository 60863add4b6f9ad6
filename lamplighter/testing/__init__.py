"""What tests of applications and of drivers are made of; nothing of the framework imports it."""
