package host

import (
	"context"
	"fmt"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// Step is one change of the host.
type Step struct {
	Do   string `json:"do"`
	Undo string `json:"undo"` // a command to copy

	run func(ctx context.Context, z *zfs.Handle) error
}

// Plan lists the steps of setup.
type Plan struct {
	Steps []Step `json:"steps"`
	// Remaining is what a person has to do afterwards.
	Remaining []string `json:"then"`
	// Pending is set when Docker does not use the layers' dataset before a person has done
	// what remains.
	Pending bool `json:"pending"`

	moved        bool   // a step moves the data-root's content
	volumesApart bool   // volumes have a dataset of their own
	driverReady  bool   // dockerd has the storage driver when it starts next
	pluginGoes   bool   // a step removes the plugin
	reload       bool   // a unit changes
	configText   string // what daemon.json needs, where it cannot be written
	bootText     string // what the unit of dockerd needs, where setup does not know the unit
}

func (p *Plan) addStep(run func(ctx context.Context, z *zfs.Handle) error, undo, do string, args ...any) {
	p.Steps = append(p.Steps, Step{fmt.Sprintf(do, args...), undo, run})
}

func (p *Plan) addRemaining(format string, args ...any) {
	p.Remaining = append(p.Remaining, fmt.Sprintf(format, args...))
}

// UndoCommands returns the commands that revert the first steps, the last one first.
func (p Plan) UndoCommands(steps int) (commands []string) {
	for i := steps - 1; i >= 0; i-- {
		commands = append(commands, p.Steps[i].Undo)
	}
	return commands
}

// Apply runs the steps and returns how many are done.
func (p Plan) Apply(ctx context.Context, z *zfs.Handle) (done int, err error) {
	for i, step := range p.Steps {
		if err := ctx.Err(); err != nil {
			return i, err
		}
		if err := step.run(ctx, z); err != nil {
			return i, fmt.Errorf("%s: %w", step.Do, err)
		}
	}
	return len(p.Steps), nil
}
