package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/overlayzfs/overlayzfs/operator/configfile"
	"github.com/overlayzfs/overlayzfs/operator/setuplog"
	"github.com/overlayzfs/overlayzfs/zfs"
)

// Step is one change of the host.
type Step struct {
	Do   string `json:"do"`
	Undo string `json:"undo"` // a command to copy, or empty

	run     func(ctx context.Context, z *zfs.Handle) error
	records []setuplog.Record // of what it changes
}

// Plan lists the steps of setup.
type Plan struct {
	Steps []Step `json:"steps"`
	// Remaining is what a person has to do afterwards.
	Remaining []string `json:"then"`
	// Pending is set when Docker does not use the layers' dataset before a person has done
	// what remains.
	Pending bool `json:"pending"`

	moved        bool     // a step moves the data-root's content
	volumesApart bool     // volumes have a dataset of their own
	driverReady  bool     // dockerd has the storage driver when it starts next
	pluginGoes   bool     // a step removes the plugin
	reload       bool     // a unit changes
	proves       bool     // the last step runs a container
	restarts     []string // units that a person has to restart
	configText   string   // what daemon.json needs, where it cannot be written
	bootText     string   // what the unit of dockerd needs, where setup does not know the unit
}

func (p *Plan) addStep(run func(ctx context.Context, z *zfs.Handle) error, undo, do string, args ...any) {
	p.Steps = append(p.Steps, Step{Do: fmt.Sprintf(do, args...), Undo: undo, run: run})
}

// addRecords adds to the last step what it changes.
func (p *Plan) addRecords(records ...setuplog.Record) {
	last := &p.Steps[len(p.Steps)-1]
	last.records = append(last.records, records...)
}

// replaceFile plans to write a file that a service reads, and to keep the old one.
func (p *Plan) replaceFile(file configfile.File, content []byte, service, text string) {
	what, undo, backup, before := "write "+file.Path, "rm "+file.Path, "", ""
	if file.Exists {
		backup, before = backupName(file), setuplog.Digest(file.Raw)
		what, undo = "edit "+file.Path+", kept as "+backup, "mv "+backup+" "+file.Path
	}
	p.addStep(func(context.Context, *zfs.Handle) error { return file.Replace(content, backup) }, undo, "%s: %s", what, text)
	p.addRecords(append(newDirs(filepath.Dir(file.Path)), setuplog.Record{
		Kind: setuplog.File, Path: file.Path, Before: before, After: setuplog.Digest(content), Backup: backup, Service: service,
	})...)
}

// backupName returns a free name for the copy of a file: outside of a directory of which a
// configuration may import every file.
func backupName(file configfile.File) string {
	if dir := filepath.Dir(file.Path); filepath.Base(dir) == "conf.d" {
		file.Path = filepath.Join(filepath.Dir(dir), filepath.Base(file.Path))
	}
	return file.BackupName()
}

// newDirs returns a record for a directory, and for each above it, that does not exist. The
// uppermost comes first.
func newDirs(dir string) (records []setuplog.Record) {
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		records = append(records, setuplog.Record{Kind: setuplog.Dir, Path: dir})
	}
	slices.Reverse(records)
	return records
}

func (p *Plan) addRemaining(format string, args ...any) {
	p.Remaining = append(p.Remaining, fmt.Sprintf(format, args...))
}

// Proves reports whether the last step runs a container.
func (p Plan) Proves() bool { return p.proves }

// UndoCommands returns the commands that revert the first steps, the last one first.
func (p Plan) UndoCommands(steps int) (commands []string) {
	for i := steps - 1; i >= 0; i-- {
		if undo := p.Steps[i].Undo; undo != "" {
			commands = append(commands, undo)
		}
	}
	return commands
}

// Apply runs the steps and returns how many are done. It records each in the log before it
// begins; log may be nil.
func (p Plan) Apply(ctx context.Context, z *zfs.Handle, log *setuplog.Log) (done int, err error) {
	for i, step := range p.Steps {
		if err := ctx.Err(); err != nil {
			return i, err
		}
		if err := log.Append(step.records...); err != nil {
			return i, fmt.Errorf("record the step %q: %w", step.Do, err)
		}
		if err := step.run(ctx, z); err != nil {
			return i, fmt.Errorf("%s: %w", step.Do, err)
		}
	}
	return len(p.Steps), nil
}
