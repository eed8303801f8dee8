package overlayzfs

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/overlayzfs/overlayzfs/zfs"
)

// Metadata is where the layer's directories are, under overlay2's names.
func (d *Driver) Metadata(ctx context.Context, id string) (map[string]string, error) {
	if err := checkID("layer", id); err != nil {
		return nil, d.in("metadata", id, err)
	}
	l := d.home.layer(id)
	data, err := d.metadata(l)
	return data, d.in("metadata", id, err)
}

func (d *Driver) metadata(l layer) (map[string]string, error) {
	if err := l.require("layer"); err != nil {
		return nil, err
	}
	lowers, err := l.lowerDirs()
	if err != nil {
		return nil, err
	}
	data := map[string]string{
		"Dataset":   d.dataset,
		"MergedDir": l.merged(),
		"UpperDir":  l.diff(),
		"WorkDir":   l.work(),
	}
	if len(lowers) > 0 {
		data["LowerDir"] = strings.Join(lowers, ":")
	}
	return data, nil
}

// Status is the store as `docker info` shows it.
func (d *Driver) Status(ctx context.Context) ([][2]string, error) {
	status, err := d.status()
	return status, d.in("status", "", err)
}

func (d *Driver) status() ([][2]string, error) {
	version, err := zfs.Version()
	if err != nil {
		return nil, err
	}
	kernel, err := kernelRelease()
	if err != nil {
		return nil, err
	}
	layers, err := d.countLayers()
	if err != nil {
		return nil, err
	}
	mounted, err := mountedLayers(d.home)
	if err != nil {
		return nil, err
	}
	return [][2]string{
		{"Backing Filesystem", "zfs"},
		{"Dataset", d.dataset},
		{"OpenZFS Version", version},
		{"Kernel Version", kernel},
		{"Supports d_type", "true"},
		{"Native Overlay Diff", "true"},
		{"Overlay Features Off", strings.Join(d.off, " ")},
		{"Quota", "not supported yet"},
		{"Layers", strconv.Itoa(layers)},
		{"Mounts", strconv.Itoa(len(mounted))},
	}, nil
}

// countLayers counts short links: each layer has one.
func (d *Driver) countLayers() (int, error) {
	dir, err := os.Open(d.home.path(linkDir))
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return len(names), err
}

// Cleanup unmounts all layers, as dockerd asks when it stops and leaves no
// container running.
func (d *Driver) Cleanup(ctx context.Context) error {
	d.session.Lock()
	defer d.session.Unlock()
	return d.in("cleanup", "", d.cleanup())
}

func (d *Driver) cleanup() error {
	mounted, err := mountedLayers(d.home)
	if err != nil {
		return err
	}
	var errs []error
	for id := range mounted {
		errs = append(errs, release(d.home.layer(id)))
	}
	return errors.Join(errors.Join(errs...), d.refs.recover())
}
