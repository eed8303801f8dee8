package powercut

import (
	"slices"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// state is what the host knows of a layer. Those in -ing were announced and not
// answered: after a power cut they may be one or the other.
type state string

const (
	creating state = "being created"
	created  state = "created"
	filling  state = "being filled"
	recorded state = "recorded"
	removing state = "being removed"
	removed  state = "removed"
)

// layer is one line of the list.
type layer struct {
	wire.Layer
	state
	digest string
	size   int64
	// written and synced count a container's records that were answered for;
	// before is how the last start found them, "" as long as none did.
	written int
	synced  map[int]bool
	before  string
	// used says of an init layer that its container was answered for as well.
	used bool
	// counted is the event since which a container's layers count, and begun the
	// one that announced the call under way.
	counted, begun int
	// survived says that a start has found the layer.
	survived bool
	// snapshot says that it is a snapshotter's: one that is committed has content
	// from before that, and its creation was waited for, unless it is an image's.
	snapshot bool
	// emptied says that nothing is known of the content of a layer that is
	// being removed.
	emptied bool
}

// list is what was announced and answered, in the order in which it was.
type list struct {
	layers []*layer
	byID   map[string]*layer
	// answers counts calls by name.
	answers map[string]int
	records int
	// events counts what was heard; all before the event durable is on disk,
	// whatever the dataset syncs: a call with a barrier began after it, and was
	// answered.
	events, durable int
	// snapshots says that all the layers are.
	snapshots bool
}

func newList(driver string) *list {
	return &list{byID: make(map[string]*layer), answers: make(map[string]int), snapshots: driver == Snapshotter}
}

// hear takes an event of the load into the list.
func (l *list) hear(e wire.Event) {
	l.events++
	switch e.Verb {
	case wire.Begin:
		l.begin(e)
	case wire.Done:
		l.answers[string(e.Call)+" "+string(e.Kind)]++
		l.done(e)
	case wire.Failed:
		l.failed(e)
	}
}

func (l *list) begin(e wire.Event) {
	y := l.byID[e.ID]
	switch e.Call {
	case wire.Create:
		if y == nil {
			y = new(layer)
			l.layers = append(l.layers, y)
			l.byID[e.ID] = y
		}
		*y = layer{
			Layer: wire.Layer{ID: e.ID, Parent: e.Parent, Kind: e.Kind},
			state: creating, size: e.Size, synced: make(map[int]bool), snapshot: l.snapshots,
		}
	case wire.Fill:
		y.state, y.digest = filling, e.Digest
	case wire.Remove:
		y.emptied = y.state != recorded
		y.state = removing
		l.use(y, false)
	}
	y.begun = l.events
}

func (l *list) done(e wire.Event) {
	y := l.byID[e.ID]
	switch e.Call {
	case wire.Create:
		y.state, y.counted = created, l.events
		if y.snapshot && y.Kind != wire.Image {
			y.counted = y.begun
			l.durable = max(l.durable, y.begun)
		}
		l.use(y, true)
	case wire.Fill:
		y.state, y.digest = recorded, e.Digest
		y.Recorded = true
		l.records++
		since := y.begun
		if y.Kind == wire.Step && !y.snapshot {
			since = y.counted // its last Put waited, after its creation's answer; Diff does not wait again
		}
		l.durable = max(l.durable, since)
	case wire.Remove:
		y.state = removed
		if y.Kind != wire.Init { // of which the driver knows that it need not wait
			l.durable = max(l.durable, y.begun)
		}
	case wire.Write:
		y.written = e.Record
		if e.Synced {
			y.synced[e.Record] = true
		}
	}
}

// use notes that the init layer below a container is needed, or is no more.
func (l *list) use(container *layer, used bool) {
	if init := l.byID[container.Parent]; init != nil && init.Kind == wire.Init {
		init.used, init.counted = used, container.counted
	}
}

// failed forgets a layer that could not be made. What else fails leaves its
// layer in doubt, as it is.
func (l *list) failed(e wire.Event) {
	if e.Call == wire.Create {
		l.forget(e.ID)
	}
}

func (l *list) forget(id string) {
	delete(l.byID, id)
	l.layers = slices.DeleteFunc(l.layers, func(y *layer) bool { return y.ID == id })
}

// plan is the list for the guest: all that has to be looked at.
func (l *list) plan() []wire.Layer {
	plan := make([]wire.Layer, 0, len(l.layers))
	for _, y := range l.layers {
		plan = append(plan, y.Layer)
	}
	return plan
}

// isDurable reports whether the engine continues with the layer after a power cut.
// BuildKit drops a step that it has not finished.
func (y *layer) isDurable() bool {
	switch y.Kind {
	case wire.Image, wire.Step:
		return y.state == recorded
	}
	return y.state == created
}

// drops returns the layers that the client removes after the check, children before parents.
func (l *list) drops() wire.Drop {
	gone := make(map[string]bool)
	for _, y := range l.layers {
		// A layer goes with the one below it.
		orphan := y.Parent != "" && (gone[y.Parent] || l.byID[y.Parent] == nil)
		if !y.isDurable() || orphan {
			gone[y.ID] = true
		}
	}
	var drop wire.Drop
	for _, y := range slices.Backward(l.layers) {
		if gone[y.ID] && y.state != removed {
			drop.IDs = append(drop.IDs, y.ID)
		}
	}
	return drop
}
