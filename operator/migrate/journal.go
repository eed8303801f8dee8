package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/operator/dockerconf"
	"github.com/overlayzfs/overlayzfs/operator/imagestore"
)

// workDir is the migration's own directory in Docker's data-root.
const workDir = "overlayzfs-migrate"

// The names in workDir.
const (
	journalName = workDir + "/journal.json"
	stagedName  = workDir + "/image"    // a copy of records that is not complete yet
	buildsName  = workDir + "/buildkit" // BuildKit's records of the old driver's layers
	// containersName holds the records of containers that an undo discards.
	containersName = workDir + "/containers"
)

// journalVersion is the version of the journal's format.
const journalVersion = 2

// Method says how layers get to the new driver.
type Method string

// The methods.
const (
	Move Method = "move" // the directory of all layers is renamed
	Stay Method = "stay" // the layers are in place already
	Copy Method = "copy" // each layer is copied; the old layers stay until Finish
	// Import is Copy into containerd's image store, which also gets images' blobs and names.
	Import Method = "import"
)

// Phase says how far a migration has come.
type Phase string

// The phases.
const (
	Carrying    Phase = "carrying"    // layers are copied; Docker's records are unchanged
	Switching   Phase = "switching"   // Docker's records are changed
	Configuring Phase = "configuring" // daemon.json is changed; everything else is done
	Done        Phase = "done"        // the migration can be finished or undone
	Undoing     Phase = "undoing"     // the changes are being reverted
	Finishing   Phase = "finishing"   // the data that an undo needs is being deleted
)

// Job is a migration as the journal records it.
type Job struct {
	Version int    `json:"version"`
	Phase   Phase  `json:"phase"`
	Method  Method `json:"way"`
	From    string `json:"from"` // names of storage drivers
	To      string `json:"to"`
	// Layers is the directory of From's layers and Target that of To's, relative to the
	// data-root. Target is empty when the store has its own dataset.
	Layers string `json:"layers"`
	Target string `json:"target,omitempty"`
	// Dataset holds the store, ZFSDataset the layers of moby's zfs driver.
	Dataset    string `json:"dataset,omitempty"`
	ZFSDataset string `json:"zfs_dataset,omitempty"`
	// PluginDataset holds the plugin's store that an Import copies from. When it is empty, that
	// store is the directory Layers.
	PluginDataset string `json:"plugin_dataset,omitempty"`
	// StoreWasEmpty is set once the store was found empty. Every layer found in it later
	// belongs to this job.
	StoreWasEmpty bool `json:"emptied,omitempty"`
	// Token names the engine that used the store last before the job started. In an Import from
	// the plugin that is the plugin's store, at the time of the last copy.
	Token string `json:"token,omitempty"`
	// Share is set when copied files can share blocks with the old ones.
	Share bool `json:"share,omitempty"`
	// Reclaim deletes each old layer once it is copied. Such a job cannot be undone.
	Reclaim   bool     `json:"reclaim,omitempty"`
	Reclaimed []string `json:"reclaimed,omitempty"` // layers whose old copy is deleted
	// Old lists From's records at the time when To's records were copied from them.
	Old []string `json:"old,omitempty"`
	// Skip are the images that are left out.
	Skip []digest.Digest `json:"skip,omitempty"`
	// ImageStore is where an Import writes. Imported are its images, by their IDs in Docker's
	// records of From.
	ImageStore *imagestore.Target              `json:"image_store,omitempty"`
	Imported   map[digest.Digest]importedImage `json:"imported,omitempty"`
	// ConfigImages are the images that containers were made of, as the operator named them, where
	// an Import replaces an ID or a digest.
	ConfigImages map[string]string `json:"config_images,omitempty"`
	// Containers are those whose layers an Import has begun to make.
	Containers []string `json:"containers,omitempty"`
	// BuildLeases are the leases that BuildKit had in containerd before an Import.
	BuildLeases []string `json:"build_leases,omitempty"`
	// Config is the path of daemon.json, or "" when the job must not change it. ConfigWas
	// is the content it had, or nil when there was no file.
	Config    string  `json:"config,omitempty"`
	ConfigWas *string `json:"config_was,omitempty"`

	client *imagestore.Client // of an Import, while it runs
	blobs  string             // containerd's directory of blobs
}

// isBack reports whether the job goes from the plugin to a built-in driver.
func (j *Job) isBack() bool { return dockerconf.IsBuiltin(j.To) }

// isFromStore reports whether the job's layers come from the plugin's store.
func (j *Job) isFromStore() bool { return !dockerconf.IsBuiltin(j.From) }

// keepsOld reports whether the old layers and records stay until Finish.
func (j *Job) keepsOld() bool { return j.Method == Copy || j.Method == Import }

// Home returns the directory of the plugin's store, relative to the data-root. It is
// meaningless when the store has its own dataset.
func (j *Job) Home() string {
	if j.isBack() {
		return j.Layers
	}
	return j.Target
}

// FindJob returns the unfinished migration of a data-root, or nil when there is none.
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

// NextCommand returns the command that continues the job.
func (j *Job) NextCommand() string {
	switch j.Phase {
	case Undoing:
		return "overlayzfs migrate --undo"
	case Done, Finishing:
		return "overlayzfs migrate --finish"
	}
	return j.resumeCommand()
}

// IsUndoable reports whether an undo can still revert the job.
func (j *Job) IsUndoable() bool { return j.checkAction(ActionUndo) == nil }

// readJob reads the journal. It returns nil when no migration was started.
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
		return nil, fault.New(fault.Unsupported, "%s has version %d, and this overlayzfs supports %d: use the overlayzfs that wrote it", path.Join(r.Name(), journalName), job.Version, journalVersion)
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

// saveDurably saves the journal and waits until it is on disk. It is called before the
// job creates or destroys something outside the data-root.
func (j *Job) saveDurably(ctx context.Context, r *dataRoot) error {
	if err := j.save(r); err != nil {
		return err
	}
	return r.syncStorage(ctx)
}

// enterPhase saves the journal with a new phase.
func (j *Job) enterPhase(r *dataRoot, phase Phase) error {
	j.Phase = phase
	return j.save(r)
}

// removeJournal ends the job once all its changes are on disk. The journal is removed
// first; files without a journal are leftovers that the next job deletes.
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
