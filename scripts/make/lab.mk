# The lab of virtual boards (scripts/lab, docs/LAB.md).

.PHONY: lab
lab: all ## tour of fleets of virtual boards, as root: five minutes and a table
	@STAGECOACH=$(CURDIR)/$(BUILD)/stagecoach scripts/lab tour
