package powercut

import (
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// engineBook is what the host knows when a whole engine was at work: the engine
// has its own list, and is judged by it.
type engineBook struct {
	answers map[string]int
	// whole are the images that a start has found so and has run.
	whole map[string]bool
	// removing are the names of the containers and images whose removal was begun.
	removing map[string]wire.Kind
}

func newEngineBook() *engineBook {
	return &engineBook{answers: make(map[string]int), whole: make(map[string]bool), removing: make(map[string]wire.Kind)}
}

func (b *engineBook) hear(e wire.Event) {
	switch {
	case e.Verb == wire.Done:
		b.answers[string(e.Call)]++
	case e.Verb == wire.Begin && e.Call == wire.RemoveContainer:
		b.removing[e.ID] = wire.Container
	case e.Verb == wire.Begin && e.Call == wire.RemoveImage:
		for name := range strings.FieldsSeq(e.ID) {
			b.removing[name] = wire.Image
		}
	}
}

// look judges an image or a container that the engine lists.
func (b *engineBook) look(id string, f wire.Found, _ bool) verdict {
	if f.Wrong != "" {
		return wrong(Torn, "listed, but: %s", f.Wrong)
	}
	b.whole[id] = true
	return verdict{}
}

// plan names the images that need not be run again, which takes the most time.
// They are saved again. After those come containers and images whose layers may be missing: the
// engine has layers removed before its own files, whose removal it does not sync.
func (b *engineBook) plan() []wire.Layer {
	plan := make([]wire.Layer, 0, len(b.whole))
	for id := range b.whole {
		plan = append(plan, wire.Layer{ID: id, Recorded: true})
	}
	for name, kind := range b.removing {
		plan = append(plan, wire.Layer{ID: name, Kind: kind})
	}
	return plan
}

func (b *engineBook) drops() wire.Drop { return wire.Drop{} }

// strangers are all that the guest names: it has compared with the engine's
// list already.
func (b *engineBook) strangers(store []string) ([]string, wire.Drop) { return store, wire.Drop{} }

func (b *engineBook) counts() counts {
	recorded := 0
	for call, n := range b.answers {
		if call != string(wire.RemoveImage) {
			recorded += n
		}
	}
	return counts{recorded: recorded, answers: b.answers}
}
