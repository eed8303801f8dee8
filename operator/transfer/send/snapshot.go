package send

import (
	"context"
	"errors"
	"fmt"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/overlayzfs/overlayzfs/operator/dockerstore"
	"github.com/overlayzfs/overlayzfs/operator/transfer"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
)

// snapshotPrefix begins the names of snapshots that are taken to be sent.
const snapshotPrefix = "overlayzfs-sent-"

// snapshotTries bounds how often a snapshot is tried. A running dockerd may remove a
// layer at that moment, so that an image lacks it.
const snapshotTries = 3

// takeSnapshot copies Docker's records into the store, and takes a snapshot that has
// every layer of these records.
func (s *Sender) takeSnapshot(ctx context.Context) (snap string, err error) {
	for range snapshotTries {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if snap, err = s.trySnapshot(); err == nil {
			return snap, nil
		}
		if readErr := s.Source.Reread(); readErr != nil {
			return "", readErr
		}
	}
	return "", err
}

func (s *Sender) trySnapshot() (snap string, err error) {
	source := s.Source
	carried, err := overlayzfs.OpenCarried(source.Dataset)
	if err != nil {
		return "", err
	}
	if err := errors.Join(transfer.Pack(source.Docker, source.Records, carried), carried.Close()); err != nil {
		return "", err
	}
	snap = fmt.Sprintf("%s@%s%s", source.Dataset, snapshotPrefix, time.Now().UTC().Format("20060102T150405.000Z"))
	if err := transfer.TakeSnapshot(source.ZFS, snap); err != nil {
		return "", err
	}
	// The snapshot has every layer that was recorded before it and is there after it.
	seen, err := source.View.Layers()
	if err == nil {
		_, err = transfer.FindForeignLayers(seen, imageRecords(source.Records))
	}
	if err != nil {
		return "", errors.Join(err, source.ZFS.DestroySnapshots([]string{snap}, false))
	}
	return snap, nil
}

// imageRecords returns the records without layers that no image has.
func imageRecords(records *dockerstore.Records) *dockerstore.Records {
	images := &dockerstore.Records{Images: records.Images, Layers: map[digest.Digest]dockerstore.Layer{}}
	for _, image := range records.Images {
		for _, chain := range image.Chains {
			images.Layers[chain] = records.Layers[chain]
		}
	}
	return images
}
