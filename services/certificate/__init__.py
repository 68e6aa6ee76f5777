"""The certificate service: certificates, their documents, marks, states and history, and the catalogue's rules over them."""
