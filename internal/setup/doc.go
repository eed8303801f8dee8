// Package setup prepares a host: the datasets with the advised properties, and
// dockerd's daemon.json.
//
// It has three halves that do not mix: Gather looks at the host, Decide makes a
// plan of what was seen and changes nothing, Do carries the plan out. Every step
// leaves the host in a state that Decide understands, so that an interrupted
// setup is finished by another one. What is as it should be makes no step.
//
// What properties are advised is known to package doctor. Nothing is destroyed
// here, and no data is moved.
package setup
