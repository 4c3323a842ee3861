"""The same question layer by layer: at which depth does the answer begin to jitter?"""
