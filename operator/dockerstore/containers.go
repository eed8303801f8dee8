package dockerstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Container is a container as Docker recorded it.
type Container struct {
	ID      string
	Name    string
	Image   digest.Digest // empty for a container without an image
	Created time.Time
	Running bool // when the record was written
	Dead    bool // Docker is removing the container, its writable layer first
}

// containerConfig is the part of config.v2.json that this package uses.
type containerConfig struct {
	ID      string
	Name    string
	Driver  string
	Image   string
	Created time.Time
	State   *struct{ Running, Dead bool }
}

// Containers returns the containers that use a driver, and the records that could not be
// read. With the containerd image store a driver is a snapshotter, and Docker has no other
// records of its layers.
func (r *Root) Containers(driver string) ([]Container, []Damage, error) {
	if err := checkDriver(driver); err != nil {
		return nil, nil, err
	}
	reader := &reader{Root: r, records: &Records{Driver: driver, OtherDrivers: map[string]string{}}}
	if err := reader.readContainers(); err != nil {
		return nil, nil, fmt.Errorf("records of Docker in %s: %w", r.dir, err)
	}
	return reader.records.Containers, reader.records.Damaged, nil
}

// readContainers reads the containers that use the driver. Of every other driver it
// records one container.
func (r *reader) readContainers() error {
	return r.forEachEntry("containers", func(entry fs.DirEntry, name string) error {
		raw, err := r.readFile(path.Join(name, "config.v2.json"), maxJSON)
		if err != nil {
			return err
		}
		c, driver, err := decodeContainer(raw)
		if err != nil {
			return err
		}
		if c.ID != entry.Name() {
			return fault.New(fault.Invalid, "config.v2.json belongs to container %.80q", c.ID)
		}
		if driver == r.records.Driver {
			r.records.Containers = append(r.records.Containers, c)
		} else {
			r.records.OtherDrivers[driver] = c.ID
		}
		return nil
	})
}

// decodeContainer reads config.v2.json (container/container.go).
func decodeContainer(raw []byte) (c Container, driver string, err error) {
	var config containerConfig
	if err := json.Unmarshal(raw, &config); err != nil {
		return c, "", fault.New(fault.Invalid, "decode config.v2.json: %w", err)
	}
	if !layerID.MatchString(config.ID) || config.Driver == "" || config.State == nil {
		return c, "", fault.New(fault.Unsupported, "config.v2.json lacks ID, driver or state")
	}
	c = Container{ID: config.ID, Name: strings.TrimPrefix(config.Name, "/"), Created: config.Created,
		Running: config.State.Running, Dead: config.State.Dead}
	if c.Name != "" && !layerID.MatchString(c.Name) {
		return c, "", fault.New(fault.UnsafeInput, "%.100q is not a container name", c.Name)
	}
	if config.Image != "" {
		c.Image, err = parseDigest(config.Image)
	}
	return c, config.Driver, err
}

// StorageOptions returns the options of `docker run --storage-opt` of a container.
func (r *Root) StorageOptions(id string) (map[string]string, error) {
	if !layerID.MatchString(id) {
		return nil, fault.New(fault.Invalid, "%.80q is not a container ID", id)
	}
	name := path.Join("containers", id, "hostconfig.json")
	raw, err := r.readFile(name, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a writable layer of a build, or of an incomplete container
	}
	if err != nil {
		return nil, err
	}
	var config struct{ StorageOpt map[string]string }
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, Damage{name, fault.New(fault.Invalid, "decode the container's configuration: %w", err)}
	}
	return config.StorageOpt, nil
}
