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

// Record is the store's record of a limited layer. It lies in a file named after the layer's
// key.
type Record struct {
	Layer      string     `json:"layer"` // the layer's ID, for readers
	Mode       Mode       `json:"mode"`
	Project    uint32     `json:"project,omitempty"`
	Properties Properties `json:"properties,omitempty"`
	// XIno is the overlay's option xino, for readers that mount it: "on", "off", or empty for
	// the default. It means something only where the layer has a dataset of its own.
	XIno string `json:"xino,omitempty"`
	Limits
}

// records is the directory of all records.
type records string

const newSuffix = ".new"

func (r records) path(key string) string { return filepath.Join(string(r), key) }

// load returns the record of a key, or nil for a layer without a limit.
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
	if record.Mode == Project && !isOurProject(record.Project) {
		return nil, fault.New(fault.Invalid, "%s is damaged: no layer has project ID %d", path, record.Project)
	}
	return &record, nil
}

// ReadRecord returns the record of a key in a store's directory of records, for readers that
// do not open the store. It is nil for a layer without a limit.
func ReadRecord(dir, key string) (*Record, error) { return records(dir).load(key) }

// save writes the record in one step that a power cut does not tear.
func (r records) save(key string, record Record) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return atomicfile.Replace(r.path(key), raw, atomicfile.Options{Mode: 0o600, Durability: atomicfile.Content, Suffix: newSuffix})
}

func (r records) remove(key string) error { return ignoreMissing(os.Remove(r.path(key))) }

// listKeys returns the keys that have a record.
func (r records) listKeys() ([]string, error) {
	return r.listNames(func(name string) bool { return !strings.HasSuffix(name, newSuffix) })
}

func (r records) listNames(want func(string) bool) ([]string, error) {
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

// loadAll returns every record by its key. An unreadable record is nil.
func (r records) loadAll() (map[string]*Record, error) {
	keys, err := r.listKeys()
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

// removePartial deletes the files that were being written when the process ended.
func (r records) removePartial() error {
	left, err := r.listNames(func(name string) bool { return strings.HasSuffix(name, newSuffix) })
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
