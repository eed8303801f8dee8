package powercut

import (
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// strangers are the names in a store that belong to no layer of the list, and
// the layers among them, which can be removed. A name is a kind and an ID:
// "layer X"; "view X" of a view, which has none; "stray N" of a layer that no
// snapshot has, and "record X" of one that has none; "dataset X", "limits X", "mutable X" and "apply X" of what a layer may have
// besides; "link X" to nowhere; or a path of the driver's own.
func (l *list) strangers(store []string) (names []string, drop wire.Drop) {
	for _, name := range store {
		what, id, _ := strings.Cut(name, " ")
		y := l.byID[id]
		if y != nil && y.state != removed && mayHave(y, what) {
			continue
		}
		if what == "layer" || what == "view" {
			drop.IDs = append(drop.IDs, id)
		}
		names = append(names, name)
	}
	return names, drop
}

func mayHave(y *layer, what string) bool {
	switch what {
	case "layer":
		return y.Kind != wire.View
	case "view":
		return y.Kind == wire.View
	case "dataset", "limits":
		return y.size > 0
	case "mutable", "apply":
		return y.Kind == wire.Step
	}
	return false
}
