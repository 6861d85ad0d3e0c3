"""Where live prices are from: a catalogue of many clouds, and clouds' own price lists. Each is asked by one module."""
