/** The camera: one frame after the other, each when the one before is done. */

import type { Picture } from "./description";
import { readPixels } from "./pictures";

export class Camera {
  private constructor(
    private readonly stream: MediaStream,
    private readonly video: HTMLVideoElement,
  ) {}

  /** Why a page cannot have a camera here; empty where it can. */
  static missing(): string {
    if (!window.isSecureContext) return "browsers give cameras to pages of localhost and of https addresses alone";
    return navigator.mediaDevices === undefined ? "this browser gives pages no camera" : "";
  }

  static async open(): Promise<Camera> {
    const wanted = { width: { ideal: 640 }, height: { ideal: 480 }, facingMode: "environment" };
    const stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    const video = document.createElement("video");
    video.muted = true;
    video.playsInline = true;
    video.srcObject = stream;
    const camera = new Camera(stream, video);
    try {
      await video.play();
    } catch (error) {
      camera.close(); // its light goes out
      throw error;
    }
    return camera;
  }

  frame(): Picture {
    return readPixels(this.video, this.video.videoWidth, this.video.videoHeight);
  }

  get ended(): boolean {
    return this.stream.getTracks().every((track) => track.readyState === "ended");
  }

  close(): void {
    for (const track of this.stream.getTracks()) track.stop();
    this.video.srcObject = null;
  }
}
