// Package pluginproc runs a door's real program as a process for tests: started, killed,
// and started again on the same socket and state.
//
// OVERLAYZFS_PLUGIN names the plugin's program, OVERLAYZFS_SNAPSHOTTER the snapshotter's.
// Tests cannot build them: they run in the lab.
package pluginproc
