# Short names for the chores in ./dev, which says what each of them does.
.PHONY: run test lint simulate bench clean

run test lint clean:
	@./dev $@

simulate: # make simulate SEEDS=1000
	@./dev simulate $(SEEDS) $(ARGS)

bench: # make bench ARGS="--quick --aedes"
	@./dev bench $(ARGS)
