package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/internal/dockerconf"
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// The fields of daemon.json that say which driver, how, and that it may be a
// plugin.
const (
	driverField       = "storage-driver"
	optionsField      = "storage-opts"
	experimentalField = "experimental"
)

var changedFields = []string{driverField, optionsField, experimentalField}

// fields is daemon.json with all that is in it.
type fields map[string]json.RawMessage

// readFields reads daemon.json; one that is not there has no fields.
func readFields(file string) (fields, error) {
	raw, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if _, err := dockerconf.Decode(raw); err != nil { // which says where it is wrong
		return nil, fault.New(fault.Invalid, "%s: %w", file, err)
	}
	f := fields{}
	if len(bytes.TrimSpace(raw)) == 0 {
		return f, nil
	}
	return f, json.Unmarshal(raw, &f)
}

// before are the fields that a migration changes, as they are.
func (f fields) before() map[string]json.RawMessage {
	kept := map[string]json.RawMessage{}
	for _, name := range changedFields {
		if value, ok := f[name]; ok {
			kept[name] = value
		}
	}
	return kept
}

// containerdStore reports whether dockerd is to keep its images in containerd's store.
func (f fields) containerdStore() bool {
	var features map[string]bool
	return json.Unmarshal(f["features"], &features) == nil && features["containerd-snapshotter"]
}

// use names another driver, with an option of its own, and drops the options of the one before: dockerd does
// not start with options that its driver does not know.
func (f fields) use(from, to, option string) error {
	var opts []string
	if raw, ok := f[optionsField]; ok {
		if err := json.Unmarshal(raw, &opts); err != nil {
			return err
		}
		opts = slices.DeleteFunc(opts, func(o string) bool { return strings.HasPrefix(strings.ToLower(o), optionPrefix(from)) })
		if err := f.set(optionsField, opts, len(opts) > 0); err != nil {
			return err
		}
	}
	if option != "" {
		opts = append(opts, option)
		if err := f.set(optionsField, opts, true); err != nil {
			return err
		}
	}
	if !builtin(to) {
		if err := f.set(experimentalField, true, true); err != nil {
			return err
		}
	}
	return f.set(driverField, to, true)
}

// set sets a field, or takes it away.
func (f fields) set(name string, value any, keep bool) error {
	if !keep {
		delete(f, name)
		return nil
	}
	raw, err := json.Marshal(value)
	f[name] = raw
	return err
}

// restore gives the changed fields what they had.
func (f fields) restore(before map[string]json.RawMessage) {
	for _, name := range changedFields {
		if value, ok := before[name]; ok {
			f[name] = value
		} else {
			delete(f, name)
		}
	}
}

// optionPrefix is what the names of a driver's options begin with.
func optionPrefix(driver string) string {
	if builtin(driver) {
		return driver + "."
	}
	return "overlayzfs."
}

// builtin reports whether a storage driver is one of Docker's own.
func builtin(driver string) bool {
	switch driver {
	case "overlay2", "zfs", "btrfs", "vfs", "fuse-overlayfs", "devicemapper", "aufs", "overlay":
		return true
	}
	return false
}

// write puts daemon.json in place in one step, where a symlink says that it is.
func (f fields) write(file string) error {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(file); err == nil {
		mode = info.Mode().Perm()
	}
	raw, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	dir, err := openDataRoot(filepath.Dir(file))
	if err != nil {
		return err
	}
	if err := errors.Join(dir.write(filepath.Base(file), append(raw, '\n'), mode), dir.Close()); err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}

// switchConfig has dockerd use the driver that was migrated to.
func (j *Job) switchConfig() error {
	return j.edit(func(f fields) error { return f.use(j.From, j.To, j.option(j.To)) })
}

// restoreConfig has dockerd use the driver of before. Where daemon.json named the
// new one already, that is what layers and records say.
func (j *Job) restoreConfig() error {
	return j.edit(func(f fields) error {
		if string(j.Before[driverField]) == strconv.Quote(j.To) {
			return f.use(j.To, j.From, j.option(j.From))
		}
		f.restore(j.Before)
		return nil
	})
}

// option is what a driver has to be told to find its layers.
func (j *Job) option(driver string) string {
	if driver != "zfs" {
		return ""
	}
	return "zfs.fsname=" + j.ZFSDataset
}

// edit changes daemon.json, unless it is to be left alone.
func (j *Job) edit(change func(fields) error) error {
	if j.Config == "" {
		return nil
	}
	f, err := readFields(j.Config)
	if err != nil {
		return err
	}
	was := f.before()
	if err := change(f); err != nil {
		return err
	}
	if maps.EqualFunc(was, f.before(), sameJSON) {
		return nil
	}
	return f.write(j.Config)
}

// sameJSON compares what is said, not how.
func sameJSON(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// requireWritable makes sure that daemon.json can be put in place, by a file beside
// it, when that is what is going to be done.
func (j *Job) requireWritable() error {
	return j.edit(func(f fields) error {
		was := f.before()
		if err := f.use(j.From, j.To, j.option(j.To)); err != nil {
			return err
		}
		if maps.EqualFunc(was, f.before(), sameJSON) {
			return nil
		}
		f.restore(was)
		if _, err := os.Stat(filepath.Dir(j.Config)); errors.Is(err, fs.ErrNotExist) {
			return nil // it is going to be made
		}
		return tryBeside(j.Config)
	})
}

// tryBeside makes and removes a file beside another.
func tryBeside(file string) error {
	if real, err := filepath.EvalSymlinks(file); err == nil {
		file = real
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}
