package quota

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/fault"
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
	raw, err := os.ReadFile(r.path(key))
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
	return &record, nil
}

// save puts the record in place in one step.
func (r records) save(key string, record Record) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	next := r.path(key + newSuffix)
	if err := os.WriteFile(next, raw, 0o600); err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(next)))
	}
	return os.Rename(next, r.path(key))
}

func (r records) remove(key string) error { return ignoreMissing(os.Remove(r.path(key))) }

// keys lists the keys that have a record, and drops what was being written.
func (r records) keys() ([]string, error) {
	entries, err := os.ReadDir(string(r))
	if err != nil {
		return nil, fmt.Errorf("read the records of limits: %w", err)
	}
	var keys []string
	for _, entry := range entries {
		name := entry.Name()
		if strings.HasSuffix(name, newSuffix) {
			if err := ignoreMissing(os.Remove(r.path(name))); err != nil {
				return nil, err
			}
			continue
		}
		keys = append(keys, name)
	}
	return keys, nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
