package powercut

import (
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// strangers are the names in a store that belong to no layer of the list, and
// the layers among them, which can be removed. A name is a kind and an ID:
// "layer X", "link X" to nowhere, "dataset X" and "limit X" of a layer with a
// limit, or a path of the driver's own.
func (l *list) strangers(store []string) (names []string, drop wire.Drop) {
	for _, name := range store {
		what, id, _ := strings.Cut(name, " ")
		if what == "layer" {
			if y := l.byID[id]; y != nil && y.state != removed {
				continue
			}
			drop.IDs = append(drop.IDs, id)
		}
		if what == "dataset" || what == "limit" {
			if y := l.byID[id]; y != nil && y.size > 0 && y.state != removed {
				continue
			}
		}
		names = append(names, name)
	}
	return names, drop
}
