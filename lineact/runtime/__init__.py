"""The recogniser at the station: from a camera to events, with a released pair. Imports nothing that trains."""
