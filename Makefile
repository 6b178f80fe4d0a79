# Short names for the chores in ./dev, which says what each of them does.
.PHONY: run test lint bench clean

run test lint clean:
	@./dev $@

bench: # make bench ARGS="--quick --aedes"
	@./dev bench $(ARGS)
