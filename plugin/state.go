package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// stateVersion is the version of the state file's format. A file of another
// version is left alone until Init writes a new one.
const stateVersion = 1

// StateName is what the state file is called, beside the home.
const StateName = ".overlayzfs-init.json"

// state is the file in which Init's parameters outlive the process.
type state struct {
	Version int      `json:"version"`
	Home    string   `json:"home"`
	Opts    []string `json:"opts,omitempty"`
	UIDMaps []IDMap  `json:"uid_maps,omitempty"`
	GIDMaps []IDMap  `json:"gid_maps,omitempty"`
	// Tokens are what ties the store to the engine whose data-root this lies in.
	Tokens []string `json:"tokens,omitempty"`
}

// store is the path of the state file; "" keeps nothing.
type store string

// load returns the stored parameters, or nil when there are none.
func (s store) load() (*InitParams, error) {
	if s == "" {
		return nil, nil
	}
	data, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p, err := decodeState(data)
	if err != nil {
		return nil, fmt.Errorf("state file %s: %w", string(s), err)
	}
	return &p, nil
}

func (s store) read() ([]byte, error) {
	f, err := os.Open(string(s))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxRequest+1))
	return data, errors.Join(err, f.Close())
}

// save makes p what load returns, also after a power cut. Nothing is written
// when that is so already, so that a full disk does not stop a restart.
func (s store) save(p InitParams) error {
	if s == "" {
		return nil
	}
	data, err := encodeState(p, s.tokens())
	if err != nil {
		return err
	}
	if old, err := s.read(); err == nil && bytes.Equal(old, data) {
		return nil
	}
	if err := s.replace(data); err != nil {
		return fmt.Errorf("keeping Init's parameters for a restart: %w", err)
	}
	return nil
}

// tokens are those that are kept; none where they cannot be read.
func (s store) tokens() []string {
	data, err := s.read()
	if err != nil {
		return nil
	}
	return Tokens(data)
}

// Tokens are those in a state file.
func Tokens(data []byte) []string {
	var s state
	if json.Unmarshal(data, &s) != nil || s.Version != stateVersion {
		return nil
	}
	return s.Tokens
}

// keep replaces the tokens beside the parameters, also for after a power cut.
func (s store) keep(p InitParams, tokens []string) error {
	if s == "" {
		return nil
	}
	data, err := encodeState(p, tokens)
	if err != nil {
		return err
	}
	return s.replace(data)
}

// replace writes data beside the file, then puts it in the file's place.
func (s store) replace(data []byte) error {
	dir, base := filepath.Split(string(s))
	if dir == "" {
		dir = "."
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, base+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), string(s))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(dir)
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func encodeState(p InitParams, tokens []string) ([]byte, error) {
	return json.Marshal(state{stateVersion, p.Home, p.Opts, p.UIDMaps, p.GIDMaps, tokens})
}

func decodeState(data []byte) (InitParams, error) {
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return InitParams{}, fmt.Errorf("not a state file: %w", err)
	}
	if s.Version != stateVersion {
		return InitParams{}, fmt.Errorf("version %d, where this plugin knows %d", s.Version, stateVersion)
	}
	p := InitParams{s.Home, s.Opts, s.UIDMaps, s.GIDMaps}
	return p, p.check()
}
