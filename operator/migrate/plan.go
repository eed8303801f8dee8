package migrate

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Request is what is asked for.
type Request struct {
	Root   string // Docker's data-root
	Config string // daemon.json; empty to leave it alone
	// Driver is the plugin's name, in Docker's records. Its store lies on Dataset
	// or, without one, in the directory Home.
	Driver  string
	Dataset string
	Home    string
	// From is the driver to come from; empty: the only one that has something.
	From string
	// ZFSDataset is where moby's zfs driver has its layers.
	ZFSDataset string
	// Back: from the plugin to the driver To, overlay2 or zfs; empty: overlay2, or that
	// of a migration which was begun.
	Back    bool
	To      string
	Reclaim bool
	// Action is what is to be done about a migration that was begun.
	Action Action
}

// Action is what to do.
type Action string

// The actions.
const (
	ActionMigrate Action = ""
	ActionUndo    Action = "undo"
	ActionFinish  Action = "finish"
)

// Plan is a migration thought through.
type Plan struct {
	Root string `json:"root"`
	Job  Job    `json:"job"`
	// Driver is the one under which Docker has these images, layers and containers.
	Driver     string `json:"driver,omitempty"`
	Images     int    `json:"images"`
	Layers     int    `json:"layers"`
	Containers int    `json:"containers"`
	// Bytes is how much is to be carried at most, Available what there is room for.
	Bytes     int64  `json:"bytes"`
	Available uint64 `json:"available,omitempty"`
	// Resumed: it was begun before.
	Resumed bool `json:"resumed,omitempty"`
	// Notes are what else to know, Obstacles why it cannot be begun.
	Notes     []string `json:"notes,omitempty"`
	Obstacles []string `json:"obstacles,omitempty"`
}

// Obstacles are why a plan is not carried out.
type Obstacles []string

// Error names them all.
func (o Obstacles) Error() string { return strings.Join(o, "; ") }

// MarshalJSON leaves out what else is in daemon.json: it can have secrets, and a
// plan is shown.
func (p Plan) MarshalJSON() ([]byte, error) {
	type plain Plan // without this method
	p.Job.ConfigWas = nil
	return json.Marshal(plain(p))
}

// CheckObstacles is the obstacles as an error; nil when there are none.
func (p *Plan) CheckObstacles() error {
	if len(p.Obstacles) == 0 {
		return nil
	}
	return Obstacles(p.Obstacles)
}

func (p *Plan) addObstacle(format string, args ...any) {
	p.Obstacles = append(p.Obstacles, fault.Printable(fmt.Sprintf(format, args...)))
}
