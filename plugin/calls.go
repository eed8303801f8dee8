package plugin

import (
	"context"
	"errors"
	"net/http"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// calls returns the handler of each of the protocol's fifteen calls, and of ours.
func (s *Server) calls() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		callInit:            s.handle(callInit, "init", initialize),
		callCapabilities:    s.handle(callCapabilities, "capabilities", getCapabilities),
		callCreate:          s.handle(callCreate, "create", layerCall(create(false))),
		callCreateReadWrite: s.handle(callCreateReadWrite, "create read-write", layerCall(create(true))),
		callGet:             s.handle(callGet, "get", layerCall(get)),
		callPut:             s.handle(callPut, "put", layerCall(put)),
		callRemove:          s.handle(callRemove, "remove", layerCall(remove)),
		callExists:          s.handle(callExists, "exists", layerCall(exists)),
		callMetadata:        s.handle(callMetadata, "metadata", layerCall(metadata)),
		callStatus:          s.handle(callStatus, "status", driverCall(status)),
		callCleanup:         s.handle(callCleanup, "cleanup", driverCall(cleanup)),
		callChanges:         s.handle(callChanges, "changes", layerCall(changes)),
		callDiff:            s.handle(callDiff, "diff", diff),
		callDiffSize:        s.handle(callDiffSize, "diff size", layerCall(diffSize)),
		callApplyDiff:       s.handle(callApplyDiff, "apply diff", applyDiff),
		callLimit:           s.handle(callLimit, "limit", layerCall(limit)),
	}
}

func initialize(c *call) error {
	p, err := decodeInit(c.r.Body)
	if errors.Is(err, errNoBody) {
		p, err = c.server.driver.storedParams(c.ctx)
	}
	if err != nil {
		return err
	}
	if reason := c.server.RefuseIDMaps; reason != "" && len(p.UIDMaps)+len(p.GIDMaps) > 0 {
		return fault.New(fault.Unsupported, "%s", reason)
	}
	if err := c.server.driver.init(c.ctx, p); err != nil {
		return err
	}
	return c.answer(emptyResponse{})
}

func getCapabilities(c *call) error {
	return c.answer(capabilitiesResponse{capabilities{ReproducesExactDiffs: false}})
}

// driverCall returns a call that needs the Driver and does not read the request's body.
func driverCall(run func(context.Context, Driver) (any, error)) callFunc {
	return func(c *call) error {
		s, err := c.server.driver.acquire(c.ctx)
		if err != nil {
			return err
		}
		defer s.release()
		value, err := run(c.ctx, s.driver)
		if err != nil {
			return err
		}
		return c.answer(value)
	}
}

// layerCall returns a call on the layer that the request names.
func layerCall(run func(context.Context, Driver, layerRequest) (any, error)) callFunc {
	return func(c *call) error {
		q, err := decodeLayer(c.r.Body)
		c.layer = q.ID
		if err != nil {
			return err
		}
		return driverCall(func(ctx context.Context, d Driver) (any, error) {
			return run(ctx, d, q)
		})(c)
	}
}

// answer sends a success. An engine that is gone does not make the call a failure.
func (c *call) answer(value any) error {
	if err := writeJSON(c.w, http.StatusOK, value); err != nil {
		c.logger().WithError(err).Warn("done, but the engine did not take the answer")
	}
	return nil
}

func create(readWrite bool) func(context.Context, Driver, layerRequest) (any, error) {
	return func(ctx context.Context, d Driver, q layerRequest) (any, error) {
		return emptyResponse{}, d.Create(ctx, q.ID, q.Parent, CreateOptions{
			MountLabel: q.MountLabel, StorageOpt: q.StorageOpt, ReadWrite: readWrite,
			Recorded: isRecordedByCreate(q.ID, readWrite), Exempt: isInit(q.ID),
		})
	}
}

func get(ctx context.Context, d Driver, q layerRequest) (any, error) {
	dir, err := d.Get(ctx, q.ID, q.MountLabel)
	return dirResponse{dir}, err
}

func put(ctx context.Context, d Driver, q layerRequest) (any, error) {
	return emptyResponse{}, d.Put(ctx, q.ID)
}

func remove(ctx context.Context, d Driver, q layerRequest) (any, error) {
	return emptyResponse{}, d.Remove(ctx, q.ID)
}

func exists(ctx context.Context, d Driver, q layerRequest) (any, error) {
	found, err := d.Exists(ctx, q.ID)
	return existsResponse{found}, err
}

func metadata(ctx context.Context, d Driver, q layerRequest) (any, error) {
	values, err := d.Metadata(ctx, q.ID)
	return metadataResponse{values}, err
}

func status(ctx context.Context, d Driver) (any, error) {
	pairs, err := d.Status(ctx)
	return statusResponse{pairs}, err
}

func cleanup(ctx context.Context, d Driver) (any, error) {
	return emptyResponse{}, d.Cleanup(ctx)
}

func changes(ctx context.Context, d Driver, q layerRequest) (any, error) {
	found, err := d.Changes(ctx, q.ID, q.Parent)
	return changesResponse{found}, err
}

func limit(ctx context.Context, d Driver, q layerRequest) (any, error) {
	return emptyResponse{}, d.SetLimits(ctx, q.ID, q.StorageOpt)
}

func diffSize(ctx context.Context, d Driver, q layerRequest) (any, error) {
	size, err := d.DiffSize(ctx, q.ID, q.Parent)
	return sizeResponse{size}, err
}
