package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
)

// workDir is where a migration keeps what is its own, in Docker's data-root.
const workDir = "overlayzfs-migrate"

// The names in workDir.
const (
	journalName = workDir + "/journal.json"
	stagedName  = workDir + "/image"    // records that are being copied
	buildsName  = workDir + "/buildkit" // BuildKit's records, while they do not fit
)

// journalVersion is the version of the journal's format.
const journalVersion = 2

// Method is how layers get to where they are wanted.
type Method string

// The ways.
const (
	Move Method = "move" // their directory is renamed
	Stay Method = "stay" // they lie there already
	Copy Method = "copy" // each is carried over; the old ones stay until the end
)

// Phase is how far a migration is.
type Phase string

// The phases.
const (
	Carrying    Phase = "carrying"    // layers; Docker's records are as they were
	Switching   Phase = "switching"   // Docker's records
	Configuring Phase = "configuring" // daemon.json; all else is done
	Done        Phase = "done"        // it can be undone
	Undoing     Phase = "undoing"
	Finishing   Phase = "finishing" // what undoing needs is being deleted
)

// Job is a migration, as the journal has it.
type Job struct {
	Version int    `json:"version"`
	Phase   Phase  `json:"phase"`
	Method  Method `json:"way"`
	From    string `json:"from"` // names of storage drivers
	To      string `json:"to"`
	// Layers is where From has its layers and Target where To has them, in the
	// data-root. Target is empty where the store has a dataset of its own.
	Layers string `json:"layers"`
	Target string `json:"target,omitempty"`
	// Dataset is that of the store, ZFSDataset that of moby's zfs driver.
	Dataset    string `json:"dataset,omitempty"`
	ZFSDataset string `json:"zfs_dataset,omitempty"`
	// StoreWasEmpty: the store was seen to hold nothing, so that what it holds since is
	// this job's.
	StoreWasEmpty bool `json:"emptied,omitempty"`
	// Token is that of the engine which had the store last when it began.
	Token string `json:"token,omitempty"`
	// Share: files can share their blocks with the old ones.
	Share bool `json:"share,omitempty"`
	// Reclaim: what was carried is deleted at once. It cannot be undone then.
	Reclaim   bool     `json:"reclaim,omitempty"`
	Reclaimed []string `json:"reclaimed,omitempty"` // layers whose old ones are gone
	// Old are the records that From had when those of To were made of them.
	Old []string `json:"old,omitempty"`
	// Config is daemon.json; empty: it is left alone. ConfigWas is what was in it;
	// nil: there was none.
	Config    string  `json:"config,omitempty"`
	ConfigWas *string `json:"config_was,omitempty"`
}

// isBack: it goes from the plugin to overlay2.
func (j *Job) isBack() bool { return dockerconf.IsBuiltin(j.To) }

// Home is where the plugin's store lies in the data-root, if it has no dataset of its
// own.
func (j *Job) Home() string {
	if j.isBack() {
		return j.Layers
	}
	return j.Target
}

// FindJob is the migration that was begun in a data-root and is not finished; nil when
// there is none.
func FindJob(root string) (*Job, error) {
	r, err := openDataRoot(root)
	if errors.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	job, err := readJob(r)
	return job, errors.Join(err, r.Close())
}

// NextCommand is the command that brings it further.
func (j *Job) NextCommand() string {
	switch j.Phase {
	case Undoing:
		return "overlayzfs migrate --undo"
	case Done, Finishing:
		return "overlayzfs migrate --finish"
	}
	return j.resumeCommand()
}

// IsUndoable reports whether there is still a way back to where it began.
func (j *Job) IsUndoable() bool { return j.checkAction(ActionUndo) == nil }

// readJob reads the journal; nil where no migration is under way.
func readJob(r *dataRoot) (*Job, error) {
	raw, err := r.ReadFile(journalName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var job Job
	if err := json.Unmarshal(raw, &job); err != nil {
		return nil, fault.New(fault.Invalid, "%s is damaged: %w", path.Join(r.Name(), journalName), err)
	}
	if job.Version != journalVersion {
		return nil, fault.New(fault.Unsupported, "%s has version %d; this overlayzfs knows %d: use the version that wrote it", path.Join(r.Name(), journalName), job.Version, journalVersion)
	}
	return &job, nil
}

// save writes the journal in one step.
func (j *Job) save(r *dataRoot) error {
	if err := r.Mkdir(workDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	j.Version = journalVersion
	raw, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	return errors.Join(r.writeFile(journalName, append(raw, '\n'), 0o600), r.syncDir("."))
}

// saveDurably is save before something is made or destroyed elsewhere by what the journal
// says.
func (j *Job) saveDurably(ctx context.Context, r *dataRoot) error {
	if err := j.save(r); err != nil {
		return err
	}
	return r.syncStorage(ctx)
}

// enterPhase notes that a phase begins.
func (j *Job) enterPhase(r *dataRoot, phase Phase) error {
	j.Phase = phase
	return j.save(r)
}

// removeJournal ends the job, once all that it did is on disk: the journal goes first, the
// rest is nobody's then.
func (j *Job) removeJournal(ctx context.Context, r *dataRoot) error {
	if err := r.syncStorage(ctx); err != nil {
		return err
	}
	if err := r.Remove(journalName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := r.syncDir(workDir); err != nil {
		return err
	}
	return errors.Join(r.RemoveAll(workDir), r.syncDir("."))
}
