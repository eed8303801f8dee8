package powercut

import "github.com/overlayzfs/overlayzfs/integration/powercut/wire"

// book is the host's side of one kind of load.
type book interface {
	// hear takes down what the load says.
	hear(e wire.Event)
	// look judges what a start found, and takes it down.
	look(id string, f wire.Found, orderedLoss bool) verdict
	// plan is what the next machine has to look at.
	plan() []wire.Layer
	// drops and strangers answer Checked and Store.
	drops() wire.Drop
	strangers(store []string) ([]string, wire.Drop)
	counts() counts
}

// counts are for the summary.
type counts struct {
	recorded, listed int
	answers          map[string]int
}

func (l *list) counts() counts { return counts{l.records, len(l.layers), l.answers} }
