package wire

import "strings"

// Kind is what a layer is for. An engine names and records each in its own way.
type Kind string

// The kinds of layers.
const (
	// Image is filled by ApplyDiff and recorded when that has answered: of a
	// snapshot, its Commit. Its ID has 64 hexadecimal digits.
	Image Kind = "image"
	// Step is BuildKit's: recorded as soon as it is made, with content once Diff
	// has answered, or the snapshot's Commit. Its ID has 25 lower-case letters and
	// digits.
	Step Kind = "step"
	// Init is the layer between an image and a container.
	Init Kind = "init"
	// Container is a container's own layer.
	Container Kind = "container"
	// View shows a layer and has nothing of its own. Only snapshotters have it.
	View Kind = "view"
)

// Verb is what a line says.
type Verb string

// The verbs, in the order of a round.
const (
	Seen    Verb = "seen"    // how a layer of the plan was found after the start
	Checked Verb = "checked" // all of them were looked at; the answer is a [Drop]
	Store   Verb = "store"   // what lies in the store; the answer is a [Drop]
	Load    Verb = "load"    // the load begins
	Begin   Verb = "begin"   // a call is about to be made
	Done    Verb = "done"    // it was answered
	Failed  Verb = "failed"  // it was refused
	Trouble Verb = "trouble" // the guest itself cannot go on
)

// Call is what is done to a layer.
type Call string

// The calls.
const (
	Create Call = "create"
	Fill   Call = "fill" // ApplyDiff to an image's layer, Diff of a step's; Commit
	Remove Call = "remove"
	Write  Call = "write" // one record into a container's layer
	// These are an engine's, of a container of that name or images of these.
	RemoveContainer Call = "rm"
	RemoveImage     Call = "rmi"
)

// Event is one line from the guest.
type Event struct {
	Verb   Verb   `json:"verb"`
	Call   Call   `json:"call,omitempty"`
	ID     string `json:"id,omitempty"`
	Parent string `json:"parent,omitempty"`
	Kind   Kind   `json:"kind,omitempty"`
	// Digest is the digest of the content that a call gives, or gave, the layer.
	Digest string `json:"digest,omitempty"`
	// Size is a container's limit in bytes, 0 for none.
	Size int64 `json:"size,omitempty"`
	// Record is the number of a record, from 1; Synced says that it was synced.
	Record int  `json:"record,omitempty"`
	Synced bool `json:"synced,omitempty"`

	Found *Found   `json:"found,omitempty"`
	Store []string `json:"store,omitempty"`
	Text  string   `json:"text,omitempty"`
}

// Found is how a layer looks after a start.
type Found struct {
	Exists bool `json:"exists"`
	// Open says that it is a snapshot which nobody has committed.
	Open bool `json:"open,omitempty"`
	// Digest and Empty are of what Diff says.
	Digest string `json:"digest,omitempty"`
	Empty  bool   `json:"empty,omitempty"`
	// Wrong is what is wrong with the layer itself: it cannot be read, or is
	// not mounted as its layers together say.
	Wrong string `json:"wrong,omitempty"`
	// Records has a letter for each record of a container's layer: see
	// package layers.
	Records string `json:"records,omitempty"`
	// Room is the size of the file system that a container sees.
	Room int64 `json:"room,omitempty"`
}

// Drop is the host's answer to Checked and Store: layers to remove, in order.
type Drop struct {
	IDs []string `json:"ids"`
}

// Plan is what a machine is booted for. It lies in the job as [PlanFile].
type Plan struct {
	Tier    string  `json:"tier"`   // driver or engine
	Driver  string  `json:"driver"` // overlayzfs, snapshotter or overlay2
	Sync    string  `json:"sync"`   // of the dataset
	Seed    uint64  `json:"seed"`
	Round   int     `json:"round"`
	Workers int     `json:"workers"`
	Most    int     `json:"most"` // layers, from which on more are removed than made
	Layers  []Layer `json:"layers"`
	// Last is set when nothing but the check is wanted.
	Last bool `json:"last,omitempty"`
}

// PlanFile is the plan's name in the job's directory.
const PlanFile = "plan.json"

// Layer is a layer as the plan has it, parents first.
type Layer struct {
	ID     string `json:"id"`
	Parent string `json:"parent,omitempty"`
	Kind   Kind   `json:"kind"`
	// Recorded says that its content was answered for.
	Recorded bool `json:"recorded,omitempty"`
}

// NoLimits tells from a refusal whether the driver cannot limit layers here.
func NoLimits(refusal string) bool {
	return strings.Contains(refusal, "not supported") || strings.Contains(refusal, "supported only")
}
