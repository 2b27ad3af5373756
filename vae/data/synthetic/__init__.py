"""Pictures that the project draws itself: cats with exact landmarks, and stand-ins for the presets' data sets."""
