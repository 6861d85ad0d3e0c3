"""Loop 2: what the data plane observes, joined with what nodes report, becomes advice for the next plan."""
