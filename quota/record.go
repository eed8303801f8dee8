package quota

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/atomicfile"
	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/fsat"
)

// Record is what the store keeps of a limited layer, in a file named after the
// layer's key.
type Record struct {
	Layer      string     `json:"layer"` // its ID, for people
	Mode       Mode       `json:"mode"`
	Project    uint32     `json:"project,omitempty"`
	Properties Properties `json:"properties,omitempty"`
	Limits
}

// records is the directory of all records.
type records string

const newSuffix = ".new"

func (r records) path(key string) string { return filepath.Join(string(r), key) }

// load returns the record of a key, or nil when the layer is not limited.
func (r records) load(key string) (*Record, error) {
	raw, err := fsat.ReadSmall(r.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return decodeRecord(r.path(key), raw)
}

func decodeRecord(path string, raw []byte) (*Record, error) {
	var record Record
	if err := json.Unmarshal(raw, &record); err != nil {
		return nil, fault.New(fault.Invalid, "%s is damaged: %w", path, err)
	}
	if record.Mode != Dataset && record.Mode != Project {
		return nil, fault.New(fault.Unsupported, "%s names the quota mode %.40q, which this version does not know", path, record.Mode)
	}
	if record.Mode == Project && !ours(record.Project) {
		return nil, fault.New(fault.Invalid, "%s is damaged: project ID %d is none that a layer gets", path, record.Project)
	}
	return &record, nil
}

// ReadRecord returns the record of a key in a store's directory of records, for
// those who only look: nil when the layer is not limited.
func ReadRecord(dir, key string) (*Record, error) { return records(dir).load(key) }

// save puts the record in place in one step, which a power cut does not tear: a
// name can be on disk before what it names.
func (r records) save(key string, record Record) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return atomicfile.Replace(r.path(key), raw, atomicfile.Options{Mode: 0o600, Durability: atomicfile.Content, Suffix: newSuffix})
}

func (r records) remove(key string) error { return ignoreMissing(os.Remove(r.path(key))) }

// keys lists the keys that have a record.
func (r records) keys() ([]string, error) {
	return r.names(func(name string) bool { return !strings.HasSuffix(name, newSuffix) })
}

func (r records) names(want func(string) bool) ([]string, error) {
	entries, err := os.ReadDir(string(r))
	if err != nil {
		return nil, fmt.Errorf("read the records of limits: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if want(entry.Name()) {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// all returns every record by its key; one that cannot be read is nil.
func (r records) all() (map[string]*Record, error) {
	keys, err := r.keys()
	if err != nil {
		return nil, err
	}
	all := make(map[string]*Record, len(keys))
	for _, key := range keys {
		record, err := r.load(key)
		if err == nil && record == nil {
			continue // removed meanwhile
		}
		all[key] = record
	}
	return all, nil
}

// clean drops what was being written when the process ended.
func (r records) clean() error {
	left, err := r.names(func(name string) bool { return strings.HasSuffix(name, newSuffix) })
	for _, name := range left {
		err = errors.Join(err, ignoreMissing(os.Remove(r.path(name))))
	}
	return err
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
