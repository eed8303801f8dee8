package guest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// Run does a machine's errand: the plan lies in the working directory, port
// matches the device of the line to the host.
func Run(ctx context.Context, port string) error {
	plan, err := readPlan()
	if err != nil {
		return err
	}
	line, err := openLine(port)
	if err != nil {
		return err
	}
	do := errand
	if plan.Tier == "engine" {
		do = engineErrand
	}
	if err := do(ctx, plan, line); err != nil {
		_, _ = line.Say(wire.Event{Verb: wire.Trouble, Text: err.Error()})
		return err
	}
	return nil
}

func readPlan() (*wire.Plan, error) {
	raw, err := os.ReadFile(wire.PlanFile)
	if err != nil {
		return nil, err
	}
	plan := new(wire.Plan)
	return plan, json.Unmarshal(raw, plan)
}

// openLine opens the port for calls that wait: the runtime's poller has no
// business with it.
func openLine(pattern string) (*wire.Line, error) {
	found, err := filepath.Glob(pattern)
	if err != nil || len(found) != 1 {
		return nil, fmt.Errorf("%s matches %q, want one device", pattern, found)
	}
	fd, err := unix.Open(found[0], unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: found[0], Err: err}
	}
	return wire.NewLine(os.NewFile(uintptr(fd), found[0])), nil
}

// errand looks at all that the plan has, removes what is not wanted of it, and
// runs the load.
func errand(ctx context.Context, plan *wire.Plan, line *wire.Line) error {
	s, err := open(ctx, plan)
	if err != nil {
		return err
	}
	l := &load{store: s, Plan: plan, line: line}
	if err := l.check(ctx); err != nil {
		return err
	}
	if err := l.tidy(ctx); err != nil {
		return err
	}
	if plan.Last {
		return nil
	}
	if _, err := line.Say(wire.Event{Verb: wire.Load}); err != nil {
		return err
	}
	return l.run(ctx)
}

// check tells the host how each layer is found, and removes those that it wants
// to be removed. The others are what the load starts from.
func (l *load) check(ctx context.Context) error {
	c := newChecker(l.store, l.Layers)
	if l.snapshots != nil {
		l.snapshots.lookAhead(ctx, l.Layers)
	}
	for _, y := range l.Layers {
		found, err := c.look(ctx, y)
		if err != nil {
			return fmt.Errorf("looking at %s: %w", y.ID, err)
		}
		if _, err := l.line.Say(wire.Event{Verb: wire.Seen, ID: y.ID, Found: &found}); err != nil {
			return err
		}
		if found.Exists {
			l.nodes.release(l.nodes.add(y))
		}
	}
	drop, err := l.line.Ask(wire.Event{Verb: wire.Checked})
	if err != nil {
		return err
	}
	return l.drop(ctx, drop)
}

// tidy tells the host what lies in the store. What it has not in its list is
// removed, so that it is found once.
func (l *load) tidy(ctx context.Context) error {
	names, err := l.inventory(ctx)
	if err != nil {
		return err
	}
	drop, err := l.line.Ask(wire.Event{Verb: wire.Store, Store: names})
	if err != nil {
		return err
	}
	for _, id := range drop.IDs {
		if err := l.Remove(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) drop(ctx context.Context, drop wire.Drop) error {
	for _, id := range drop.IDs {
		l.nodes.forget(id)
		if _, err := l.removeLayer(ctx, id, l.kind(id)); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) kind(id string) wire.Kind {
	i := slices.IndexFunc(l.Layers, func(y wire.Layer) bool { return y.ID == id })
	if i < 0 {
		return ""
	}
	return l.Layers[i].Kind
}
