package powercut

import "github.com/overlayzfs/overlayzfs/integration/powercut/wire"

// engineBook is what the host knows when a whole engine was at work: the engine
// has its own list, and is judged by it.
type engineBook struct {
	answers map[string]int
}

func newEngineBook() *engineBook { return &engineBook{make(map[string]int)} }

func (b *engineBook) hear(e wire.Event) {
	if e.Verb == wire.Done {
		b.answers[string(e.Call)]++
	}
}

// look judges an image or a container that the engine lists.
func (b *engineBook) look(_ string, f wire.Found, _ bool) verdict {
	if f.Wrong != "" {
		return wrong(Torn, "listed, but: %s", f.Wrong)
	}
	return verdict{}
}

func (b *engineBook) plan() []wire.Layer { return nil }

func (b *engineBook) drops() wire.Drop { return wire.Drop{} }

// strangers are all that the guest names: it has compared with the engine's
// list already.
func (b *engineBook) strangers(store []string) ([]string, wire.Drop) { return store, wire.Drop{} }

func (b *engineBook) counts() counts {
	recorded := 0
	for call, n := range b.answers {
		if call != "rmi" {
			recorded += n
		}
	}
	return counts{recorded: recorded, answers: b.answers}
}
