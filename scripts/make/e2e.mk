# The stranger of the end-to-end tests: a program that sends what no daemon of ours would (test/e2e/hostile.c).

HOSTILE := $(BUILD)/test/e2e/hostile
$(HOSTILE): $(BUILD)/test/e2e/hostile.o $(call libraries,$(MODULES))
	@echo "  LD   $@"
	@$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $^ $(EXTERNAL)
tests: $(HOSTILE)
-include $(BUILD)/test/e2e/hostile.d
