# Those who misbehave in the end-to-end tests: a stranger that sends what no daemon of ours would (test/e2e/hostile.c), and one
# who is admitted and says what is not its to say (insider.c).

MISBEHAVED := $(BUILD)/test/e2e/hostile $(BUILD)/test/e2e/insider
$(MISBEHAVED): %: %.o $(call libraries,$(MODULES))
	@echo "  LD   $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(EXTERNAL)
tests: $(MISBEHAVED)
-include $(MISBEHAVED:%=%.d)
