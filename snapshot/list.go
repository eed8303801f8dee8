package snapshot

import (
	"time"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// Info is one snapshot of ours: what has one name on all its datasets.
type Info struct {
	Name      string    `json:"name"` // what stands after the @
	Event     Event     `json:"event"`
	Time      time.Time `json:"time"` // by the clock of then; CreateTXG orders
	CreateTXG uint64    `json:"createtxg"`
	Scope     Scope     `json:"scope"`
	Records   string    `json:"records,omitempty"`
	Datasets  []string  `json:"datasets"` // that have it, the layers dataset first
	Used      uint64    `json:"used"`     // bytes that nothing else holds
	Clones    uint64    `json:"clones,omitempty"`
	Holds     []Hold    `json:"holds,omitempty"`
}

// Hold keeps a snapshot from being destroyed.
type Hold struct {
	Dataset string `json:"dataset"`
	Tag     string `json:"tag"`
}

// Scope is what a snapshot holds.
type Scope string

// The scopes.
const (
	ScopeLayers  Scope = "layers"
	ScopeRecords Scope = "layers+records"
)

// List returns our snapshots of a store, oldest first.
func List(z *zfs.Handle, layers string) ([]Info, error) { return nil, nil }
