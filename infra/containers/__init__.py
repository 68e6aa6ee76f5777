"""The suite in containers: the image, what its containers are told, and provisioning from inside the network."""
