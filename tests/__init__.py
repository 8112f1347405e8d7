"""The tests of Packhouse: unit, contract, integration, faults and clients, with the fakes they share."""
